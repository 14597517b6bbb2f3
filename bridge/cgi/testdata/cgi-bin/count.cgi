#!/bin/sh
# Says how long its input is said to be, and returns it.
printf 'Content-Type: application/octet-stream\nX-Length: %s\n\n' "$CONTENT_LENGTH"
exec cat
