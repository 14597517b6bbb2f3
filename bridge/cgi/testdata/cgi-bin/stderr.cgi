#!/bin/sh
echo 'first warning' >&2
printf 'second, without an end' >&2
printf 'Content-Type: text/plain\n\nok\n'
