package command

// usage is the text of --help.
func usage() string {
	o, err := parseFlags([]string{"--help"})
	if err != nil {
		return err.Error() + "\n"
	}
	return `Serve Perl web software and Go code behind one front.

Usage:
  pagi-bridge                    app.psgi in this directory, else this directory's files
  pagi-bridge app.psgi           a PSGI application
  pagi-bridge -e 'CODE'          a PSGI application written on the spot
  pagi-bridge --cgi cgi-bin/     a directory of CGI scripts
  pagi-bridge script.cgi         one CGI script
  pagi-bridge DIR                static files, with a listing
  pagi-bridge -c site.yaml       all of these together, by path and host
  pagi-bridge -t -c site.yaml    check a site file
  pagi-bridge status -c site.yaml   tell what a running gateway does

Options:
` + o.set.FlagUsagesWrapped(100) + `
Signals: TERM and INT stop gracefully, a second one at once; HUP reads the site file again and loads
PSGI applications anew; USR1 opens log files anew; USR2 starts the program anew and hands over to it;
TTIN and TTOU add a worker to each PSGI application, or take one away.
Exit codes: 0 all went well, 1 could not start or broke, 2 wrong usage or site file.
Environment: PAGI_ENV, then PLACK_ENV, where -E is not given; without either it is development
at a terminal and deployment elsewhere.
`
}
