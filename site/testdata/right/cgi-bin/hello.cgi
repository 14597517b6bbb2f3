#!/bin/sh
printf "Content-Type: text/plain\n\nhello from $SCRIPT_NAME\n"
