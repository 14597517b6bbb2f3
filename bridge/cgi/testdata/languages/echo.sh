#!/bin/sh
# As all programs here: the request's variables on one line, then its body.
printf 'Status: 222\r\nContent-Type: application/octet-stream\r\n\r\n'
printf '%s|%s|%s|%s\n' "$REQUEST_METHOD" "$QUERY_STRING" "$PATH_INFO" "$CONTENT_LENGTH"
exec cat
