#!/bin/sh
# Leaves a child behind that holds nothing open.
printf 'Content-Type: text/plain\n\n'
sleep 600 </dev/null >/dev/null 2>&1 &
echo $!
