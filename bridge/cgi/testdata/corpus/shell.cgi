#!/bin/sh
#: exec it is no Perl script
echo "Content-Type: text/plain"; echo; echo from sh
