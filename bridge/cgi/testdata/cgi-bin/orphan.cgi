#!/bin/sh
# Leaves a child behind that holds standard output open.
printf 'Content-Type: text/plain\n\n'
sleep 600 &
echo $!
