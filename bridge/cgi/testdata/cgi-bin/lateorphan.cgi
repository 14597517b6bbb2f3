#!/bin/sh
# The script ends at once; a child writes the rest of the response.
printf 'Content-Type: text/plain\n\nfirst\n'
{ sleep 0.2; echo second; } &
