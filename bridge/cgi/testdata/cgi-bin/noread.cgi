#!/bin/sh
# Does not touch its standard input.
printf 'Content-Type: text/plain\n\nnot interested\n'
