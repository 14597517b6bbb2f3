#!/usr/bin/env node
const { REQUEST_METHOD, QUERY_STRING, PATH_INFO, CONTENT_LENGTH } = process.env;
process.stdout.write("Status: 222\r\nContent-Type: application/octet-stream\r\n\r\n");
process.stdout.write([REQUEST_METHOD, QUERY_STRING, PATH_INFO, CONTENT_LENGTH].join("|") + "\n");
process.stdin.pipe(process.stdout);
