#!/bin/sh
# The environment a CGI script is given (RFC 3875 section 4.1).

escape() {
	sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g' -e 's/"/\&quot;/g' -e "s/'/\\&#39;/g"
}

cat <<'HTML'
Content-Type: text/html; charset=utf-8
Cache-Control: no-store

<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The environment of a CGI script</title>
<link rel="stylesheet" href="/static/style.css">
</head>
<body>
<header>
<nav aria-label="Site"><ul>
<li><a href="/">Home</a></li>
<li><a href="/guestbook/">Guestbook</a></li>
<li><a href="/cgi-bin/form.cgi">Form</a></li>
<li><a href="/cgi-bin/env.sh" aria-current="page">Environment</a></li>
<li><a href="/cgi-bin/upload.py">Upload</a></li>
</ul></nav>
</header>
<main>
<h1>The environment of a CGI script</h1>
<p>All of it. Only a few variables, <code>PATH</code> and <code>LANG</code> among them, come from the server's own environment.
Try <a href="/cgi-bin/env.sh/some/path?a=b&amp;c=d">a path and a query</a>.</p>
<table class="stack">
<thead><tr><th scope="col">Variable</th><th scope="col">Value</th></tr></thead>
<tbody>
HTML

# A value can hold anything but a newline here: header lines and paths that have
# one never come this far, and of a decoded PATH_INFO only lines with "=" show.
env | sort | escape | while IFS= read -r line; do
	name=${line%%=*}
	case $name in
	*[!A-Za-z0-9_]* | "$line") continue ;;
	_ | PWD | OLDPWD | SHLVL) continue ;; # the shell's own
	esac
	printf '<tr><th scope="row">%s</th><td class="value">%s</td></tr>\n' "$name" "${line#*=}"
done

cat <<'HTML'
</tbody>
</table>
</main>
<footer>Answered by sh, a CGI script</footer>
</body>
</html>
HTML
