#!/usr/bin/env python3
import os
import shutil
import sys

out = sys.stdout.buffer
out.write(b"Status: 222\r\nContent-Type: application/octet-stream\r\n\r\n")
names = ("REQUEST_METHOD", "QUERY_STRING", "PATH_INFO", "CONTENT_LENGTH")
out.write(b"|".join(os.environb[n.encode()] for n in names) + b"\n")
shutil.copyfileobj(sys.stdin.buffer, out)
