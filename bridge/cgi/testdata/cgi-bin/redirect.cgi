#!/bin/sh
# A local redirect to the query.
printf 'Location: %s\n\n' "$QUERY_STRING"
