# A guestbook as a PSGI application. It needs core Perl only and keeps its entries
# in a file, a line each, under a lock, so that any number of workers can write.

use strict;
use warnings;

use Encode qw(decode FB_CROAK);
use Fcntl qw(:flock O_APPEND O_CREAT O_NOFOLLOW O_WRONLY);
use File::Spec ();
use POSIX qw(strftime);

my $file = $ENV{GUESTBOOK_FILE} || File::Spec->catfile(private_directory(), 'entries.txt');

use constant {
    MAX_BODY    => 64 * 1024,
    MAX_NAME    => 60,
    MAX_MESSAGE => 1000,
    SHOWN       => 50,
};

# private_directory returns a directory for temporary files that only we can enter.
# Somebody else may have made one of its name before us, so it is looked at.
sub private_directory {
    my $dir = File::Spec->catdir(File::Spec->tmpdir, "pagi-guestbook-$<");
    mkdir $dir, 0700;
    my @stat = lstat $dir;
    die "$dir is not a directory of ours; set GUESTBOOK_FILE\n"
        if !@stat || !-d _ || $stat[4] != $< || $stat[2] & 077;
    return $dir;
}

# sign adds an entry and sends the visitor back to the list.
sub sign {
    my ($env) = @_;
    return plain(413, 'That is a book, not an entry.') if ($env->{CONTENT_LENGTH} || 0) > MAX_BODY;
    my $body = '';
    while (my $n = $env->{'psgi.input'}->read(my $chunk, 8192)) {
        $body .= $chunk;
    }
    my $form = parse_form($body);
    my ($name, $message) = map { clean($form->{$_}) } qw(name message);
    my @problems;
    push @problems, 'Please say who you are.'    if $name eq '';
    push @problems, 'Please write something.'    if $message eq '';
    push @problems, 'That name is too long.'     if length $name > MAX_NAME;
    push @problems, 'That message is too long.'  if length $message > MAX_MESSAGE;
    return page($env, 422, \@problems, $name, $message) if @problems;
    add_entry(time, $name, $message);
    return redirect("$env->{SCRIPT_NAME}/");
}

# add_entry writes one entry: its time, name and message between tabs.
sub add_entry {
    my @fields = map { encode_field($_) } @_;
    sysopen my $out, $file, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0600 or die "cannot open $file: $!\n";
    flock $out, LOCK_EX or die "cannot lock $file: $!\n";
    print {$out} join("\t", @fields), "\n" or die "cannot write $file: $!\n";
    close $out or die "cannot write $file: $!\n";
    return;
}

# entries returns the newest entries, newest first.
sub entries {
    open my $in, '<', $file or return;
    flock $in, LOCK_SH or die "cannot lock $file: $!\n";
    my @lines = <$in>;
    close $in;
    splice @lines, 0, @lines - SHOWN if @lines > SHOWN;
    return map { chomp; [map { decode_field($_) } split /\t/, $_, 3] } reverse @lines;
}

sub encode_field {
    my ($text) = @_;
    utf8::encode($text);
    $text =~ s/([\\\t\r\n])/sprintf '\\x%02x', ord $1/ge;
    return $text;
}

sub decode_field {
    my ($text) = @_;
    $text =~ s/\\x([0-9a-f]{2})/chr hex $1/ge;
    utf8::decode($text);
    return $text;
}

sub parse_form {
    my ($body) = @_;
    my %form;
    for my $pair (split /[&;]/, $body) {
        my ($name, $value) = map { my $s = defined $_ ? $_ : ''; $s =~ tr/+/ /; $s =~ s/%([0-9a-fA-F]{2})/chr hex $1/ge; $s } (split(/=/, $pair, 2))[0, 1];
        $form{$name} = $value;
    }
    return \%form;
}

# clean turns a form's bytes into text without control characters.
sub clean {
    my ($bytes) = @_;
    return '' if !defined $bytes;
    my $text = eval { decode('UTF-8', $bytes, FB_CROAK) };
    return '' if !defined $text;
    $text =~ s/\r\n?/\n/g;
    $text =~ s/[^\P{Cntrl}\n]//g;
    $text =~ s/\A\s+|\s+\z//g;
    return $text;
}

sub escape {
    my ($text) = @_;
    my %entity = ('&' => '&amp;', '<' => '&lt;', '>' => '&gt;', '"' => '&quot;', "'" => '&#39;');
    $text =~ s/([&<>"'])/$entity{$1}/g;
    return $text;
}

sub page {
    my ($env, $status, $problems, $name, $message) = @_;
    my $list = join '', map {
        my ($time, $who, $what) = map { escape($_) } @$_;
        my $iso = strftime '%Y-%m-%dT%H:%M:%SZ', gmtime $time;
        $what =~ s/\n/<br>\n/g;
        qq{<article class="card"><h3>$who</h3><p>$what</p><p class="note"><time datetime="$iso">$iso</time></p></article>\n};
    } entries();
    $list ||= qq{<p class="note">Nobody has signed yet. Be the first.</p>\n};
    my $errors = join '', map { '<p class="error" role="alert">' . escape($_) . "</p>\n" } @{ $problems || [] };
    my ($who, $what) = map { escape(defined $_ ? $_ : '') } $name, $message;
    my ($root, $max_name, $max_message) = (escape("$env->{SCRIPT_NAME}/"), MAX_NAME, MAX_MESSAGE);
    my $version = sprintf '%vd', $^V;
    my $html    = <<"HTML";
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Guestbook</title>
<link rel="stylesheet" href="/static/style.css">
</head>
<body>
<header>
<nav aria-label="Site"><ul>
<li><a href="/">Home</a></li>
<li><a href="/guestbook/" aria-current="page">Guestbook</a></li>
<li><a href="/cgi-bin/form.cgi">Form</a></li>
<li><a href="/cgi-bin/env.sh">Environment</a></li>
<li><a href="/cgi-bin/upload.py">Upload</a></li>
</ul></nav>
</header>
<main>
<h1>Guestbook</h1>
<p>Leave a line. Entries are kept in a file under a lock, so that every worker can write.</p>
$errors<form method="post" action="$root">
<label for="name">Your name</label>
<input id="name" name="name" value="$who" required maxlength="$max_name" autocomplete="name">
<label for="message">Your message</label>
<textarea id="message" name="message" required maxlength="$max_message">$what</textarea>
<button>Sign the guestbook</button>
</form>
<h2>Entries</h2>
$list</main>
<footer>Answered by Perl $version, a PSGI application, in worker $$</footer>
</body>
</html>
HTML
    utf8::encode($html);
    return [
        $status,
        [
            'Content-Type'  => 'text/html; charset=utf-8',
            'Cache-Control' => 'no-store',
        ],
        [$html],
    ];
}

sub redirect {
    my ($to) = @_;
    return [303, ['Location' => $to, 'Content-Type' => 'text/plain'], ["See $to\n"]];
}

sub plain {
    my ($status, $text, @headers) = @_;
    return [$status, ['Content-Type' => 'text/plain; charset=utf-8', @headers], ["$text\n"]];
}

sub {
    my ($env) = @_;
    my $path = $env->{PATH_INFO};
    return redirect("$env->{SCRIPT_NAME}/") if $path eq '';
    return plain(404, 'There is only the guestbook here.') if $path ne '/';
    return page($env, 200) if $env->{REQUEST_METHOD} =~ /\A(?:GET|HEAD)\z/;
    return sign($env) if $env->{REQUEST_METHOD} eq 'POST';
    return plain(405, 'A guestbook is read or signed.', Allow => 'GET, HEAD, POST');
};
