// Command pagi-bridge serves PSGI applications, CGI scripts, files and Go code
// behind one front. See pagi-bridge --help.
package main

import "github.com/pagi-go/pagi-bridge/site/command"

func main() { command.Main() }
