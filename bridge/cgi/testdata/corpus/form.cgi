#!/usr/bin/perl
#: GET
#: GET ?name=a%26b;x=1&x=2
#: POST ?in=query application/x-www-form-urlencoded name=J%C3%B6rg&n=2
#: HEAD
use strict; use warnings;
use CGI;
my $q = CGI->new;
print $q->header(-type => 'text/html', -charset => 'utf-8'), $q->start_html('Form'), $q->h1('Hello ' . $q->escapeHTML(scalar $q->param('name') // 'world'));
print $q->p(join ', ', map { "$_=" . join '+', $q->multi_param($_) } sort $q->param), $q->start_form, $q->textfield('name'), $q->popup_menu(-name => 'n', -values => [1, 2]), $q->end_form, $q->end_html, "\n", $q->self_url, ' ', $q->remote_addr, ' ', $q->user_agent // '', "\n";
