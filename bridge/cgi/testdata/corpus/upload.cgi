#!/usr/bin/perl
#: POST ? multipart/form-data;boundary=XX --XX\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nA file\r\n--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\nContent-Type: application/octet-stream\r\n\r\n\x00\x01binary\r\nlines\r\n--XX--\r\n
use CGI;
my $q = CGI->new; my $file = $q->upload('file'); my $info = $q->uploadInfo($file); binmode $file; my $content = do { local $/; <$file> };
print $q->header('text/plain'), $q->param('title'), ' ', $q->param('file'), ' ', $info->{'Content-Type'}, ' ', length $content, ' ', unpack('H*', $content), "\n"; print -e $q->tmpFileName($file) ? "in a file\n" : "no file\n";
