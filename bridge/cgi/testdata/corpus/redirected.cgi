#!/usr/bin/perl
use CGI; print CGI->new->redirect(-uri => 'https://example.net/?a=1&b=2', -status => 303);
