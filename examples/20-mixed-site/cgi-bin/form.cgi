#!/usr/bin/perl
# A form and what was sent with it. Core Perl only.
use strict;
use warnings;

my $MAX_BODY = 64 * 1024;

sub escape {
    my ($text) = @_;
    my %entity = ('&' => '&amp;', '<' => '&lt;', '>' => '&gt;', '"' => '&quot;', "'" => '&#39;');
    $text =~ s/([&<>"'])/$entity{$1}/g;
    $text =~ s/[\x00-\x08\x0b\x0c\x0e-\x1f]//g;
    return $text;
}

sub decode {
    my ($text) = @_;
    $text =~ tr/+/ /;
    $text =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ge;
    return $text;
}

# Returns the fields of a urlencoded form as a list of [name, value].
sub parse {
    my ($encoded) = @_;
    my @fields;
    for my $pair (split /[&;]/, $encoded) {
        next if $pair eq '';
        my ($name, $value) = split /=/, $pair, 2;
        push @fields, [decode($name), decode(defined $value ? $value : '')];
    }
    return @fields;
}

sub respond {
    my ($status, $content) = @_;
    my $version = sprintf '%vd', $^V;
    binmode STDOUT;
    print <<"HTML";
Status: $status
Content-Type: text/html; charset=utf-8
Cache-Control: no-store

<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A form in Perl</title>
<link rel="stylesheet" href="/static/style.css">
</head>
<body>
<header>
<nav aria-label="Site"><ul>
<li><a href="/">Home</a></li>
<li><a href="/guestbook/">Guestbook</a></li>
<li><a href="/cgi-bin/form.cgi" aria-current="page">Form</a></li>
<li><a href="/cgi-bin/env.sh">Environment</a></li>
<li><a href="/cgi-bin/upload.py">Upload</a></li>
</ul></nav>
</header>
<main>
<h1>A form in Perl</h1>
$content
</main>
<footer>Answered by Perl $version, a CGI script</footer>
</body>
</html>
HTML
    exit;
}

sub page {
    my ($fields) = @_;
    my $sent = '';
    if (@$fields) {
        my $rows = join '', map {
            '<tr><th scope="row">' . escape($_->[0]) . '</th><td class="value">' . escape($_->[1]) . "</td></tr>\n"
        } @$fields;
        $sent = <<"HTML";
<section aria-labelledby="sent">
<h2 id="sent">What arrived</h2>
<table class="stack">
<thead><tr><th scope="col">Field</th><th scope="col">Value</th></tr></thead>
<tbody>
$rows</tbody>
</table>
</section>
HTML
    }
    return <<"HTML";
<p>Send something; the script shows what reached it.</p>
<form method="post" action="/cgi-bin/form.cgi" accept-charset="utf-8">
<label for="name">Name</label>
<input id="name" name="name" autocomplete="name" required>
<label for="colour">Favourite colour</label>
<select id="colour" name="colour"><option>green</option><option>blue</option><option>none of these</option></select>
<label for="words">A few words</label>
<textarea id="words" name="words"></textarea>
<button type="submit">Send</button>
</form>
$sent
HTML
}

my $method = $ENV{REQUEST_METHOD} || 'GET';
my $input  = defined $ENV{QUERY_STRING} ? $ENV{QUERY_STRING} : '';

if ($method eq 'POST') {
    my ($type) = split /\s*;/, lc($ENV{CONTENT_TYPE} || '');
    if (!defined $type || $type ne 'application/x-www-form-urlencoded') {
        respond('415 Unsupported Media Type', '<p class="error">This form wants application/x-www-form-urlencoded.</p>');
    }
    # A chunked request has no CONTENT_LENGTH: read to the end, but not too far.
    binmode STDIN;
    my ($body, $got) = ('', 0);
    while (length $body <= $MAX_BODY) {
        $got = read STDIN, $body, 8192, length $body;
        die "cannot read the form: $!\n" if !defined $got;
        last if $got == 0;
    }
    if (length $body > $MAX_BODY) {
        respond('413 Content Too Large', '<p class="error">That is more than this form takes (64 KiB).</p>');
    }
    $input = $body;
}
elsif ($method ne 'GET' && $method ne 'HEAD') {
    respond('405 Method Not Allowed', '<p class="error">This page knows GET, HEAD and POST.</p>');
}

respond('200 OK', page([parse($input)]));
