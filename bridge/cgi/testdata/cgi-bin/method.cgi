#!/bin/sh
printf 'Content-Type: text/plain\n\n%s %s %s [%s][%s] ' "$REQUEST_METHOD" "$SCRIPT_NAME" "$QUERY_STRING" "$CONTENT_LENGTH" "$CONTENT_TYPE"
cat
