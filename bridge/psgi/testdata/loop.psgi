# What a PSGI application can do in a worker with an event loop. It uses IO::Async and core modules.
use strict;
use warnings;

use Digest::SHA qw(sha1);
use IO::Async::Loop;
use MIME::Base64 qw(encode_base64);

my $loop = IO::Async::Loop->new;
my (@waiting, @told, %kept);

sub after { my ($seconds, $code) = @_; $loop->watch_time(after => $seconds, code => $code); return }

sub text { return [200, ['Content-Type' => 'text/plain'], [@_]] }

my %pages = (
    '/'      => sub { text("hello\n") },
    '/pid'   => sub { text($$) },
    '/told'  => sub { text(join ',', splice @told) },
    '/large' => sub { text('x' x 1_000_000) },
    '/undef' => sub { [200, ['X-Undef' => undef], [undef, 'a', undef]] },
    '/fold'  => sub { [200, ['X-Fold' => "one\n two", 'X-End' => "end\n", 'Content-Length' => ''], ['folded']] },
    '/long'  => sub { [200, ['Content-Length' => 4], ['too long']] },
    '/short' => sub { [200, ['Content-Length' => 40], ['too short']] },
    '/204'   => sub { [204, [], ['no body']] },
    '/304'   => sub { [304, [], ['no body']] },
    '/line'  => sub { ['404 Not Found', [], ['status line']] },
    '/chunked' => sub { [200, ['Transfer-Encoding' => 'chunked'], ["4\r\nchun\r\n", "3\r\nked\r\n0\r\n\r\n"]] },
    '/later' => sub { sub { my $respond = $_[0]; after(0.01, sub { $respond->(text('later')) }) } },
    '/now'   => sub { sub { $_[0]->(text('at once')) } },
    '/file'  => sub { open my $in, '<', $ENV{FILE} or die $!; [200, [], $in] },
    '/late-file' => sub { sub { my $respond = $_[0]; after(0.01, sub { open my $in, '<', $ENV{FILE} or die $!; $respond->([200, [], $in]) }) } },
    '/memory' => sub { my $text = 'in memory'; open my $in, '<', \$text or die $!; [200, [], $in] },
    '/utf8'  => sub { my $text = "\xc3\xa9"; open my $in, '<:encoding(UTF-8)', \$text or die $!; [200, [], $in] },
    '/pipe'  => sub { open my $in, '-|', 'echo piped' or die $!; [200, [], $in] },
    '/closed' => sub { open my $in, '<', $ENV{FILE} or die $!; close $in; [200, [], $in] },
    '/lines' => sub { [200, [], Lines->new("one\n", '', "two\n")] },
    '/many-lines' => sub { [200, [], Lines->new(('x' x 1000) x 2000)] },
    '/tied'  => sub { tie *TIED, 'Lines', 'tied ', 'handle'; [200, [], \*TIED] },
    '/writer' => sub {
        sub {
            my $writer = $_[0]->([200, ['Content-Type' => 'text/plain']]);
            my $n = 0;
            my $tick;
            $tick = sub {
                $writer->write('tick ' . ++$n . "\n");
                return after(0.001, $tick) if $n < 3;
                $writer->close;
                undef $tick;
            };
            $tick->();
        };
    },
    '/writer-now' => sub { sub { my $writer = $_[0]->([200, []]); $writer->write($_) for 1 .. 5; $writer->close } },
    '/poll' => sub {
        my $count = $_[0]{QUERY_STRING} || 10;
        sub {
            my $n = 0;
            $_[0]->([200, []])->poll_cb(sub {
                push @told, "poll $n" if $n == 1;
                $kept{polled} = ++$n;
                $_[0]->write('y' x 10_000);
                $_[0]->close if $n == $count;
            });
        };
    },
    '/polled' => sub { text($kept{polled} || 0) },
    '/pour'   => sub { sub { my $writer = $_[0]->([200, []]); my $n = 0; while ($n++ < 10_000) { $writer->write('z' x 10_000) or last } push @told, "poured $n"; $writer->close } },
    # Each of so many requests waits for all others.
    '/together' => sub {
        my $all = $_[0]{QUERY_STRING};
        sub {
            push @waiting, $_[0];
            return if @waiting < $all;
            $_->(text('together')) for splice @waiting;
        };
    },
    '/waiting' => sub { text(scalar @waiting) },
    '/early'  => sub { $_[0]{'psgix.informational'}->(103, [Link => '</a>']); text('after 103') },
    '/errors' => sub { print { $_[0]{'psgi.errors'} } "to psgi.errors\n"; $_[0]{'psgix.logger'}->({ level => 'info', message => 'to psgix.logger' }); text('logged') },
    '/cleanup' => sub { my $env = $_[0]; push @{ $env->{'psgix.cleanup.handlers'} }, sub { push @told, "cleaned $_[0]{PATH_INFO}" }; text('ok') },
    '/late-cleanup' => sub {
        my $env = $_[0];
        push @{ $env->{'psgix.cleanup.handlers'} }, sub { push @told, 'cleaned late' };
        sub { my $respond = $_[0]; after(0.01, sub { $respond->(text('ok')) }) };
    },
    '/slow-cleanup' => sub { push @{ $_[0]{'psgix.cleanup.handlers'} }, sub { select undef, undef, undef, 0.2; open my $out, '>', "$ENV{FILE}.cleaned" or die $! }; text('ok') },
    '/guard' => sub {
        sub {
            my $writer = $_[0]->([200, []]);
            $writer->response_guard(bless [], 'Guard');
            $writer->write('first');
            $kept{writer} = $writer;
        };
    },
    '/guarded' => sub { my $n = $kept{writer}->write('more'); delete $kept{writer}; text("wrote $n") },
    '/body' => sub {
        my $input = $_[0]{'psgi.input'};
        my $text = do { local $/; readline $input };
        seek $input, 0, 0 or die $!;
        read $input, my $again, 5;
        [200, ['X-File' => -f $input ? 'file' : 'memory', 'X-Length' => $_[0]{CONTENT_LENGTH}, 'X-Again' => $again], [$text]];
    },
    '/environ' => sub { my $env = $_[0]; text(map { "$_=" . (ref $env->{$_} ? ref $env->{$_} : $env->{$_}) . "\n" } sort grep { !/\Apsgix?\.(?:errors|input|logger|informational|cleanup\.handlers)\z/ } keys %$env) },
    '/timer-dies' => sub { after(0.001, sub { die "dead in a timer\n" }); text('ok') },
    # What goes wrong.
    '/die'        => sub { die "dead at once\n" },
    '/die-delayed' => sub { sub { die "dead in the delayed response\n" } },
    '/never'      => sub { sub { my $respond = $_[0]; after(0.001, sub { undef $respond }); return } },
    '/dropped-writer' => sub { sub { $_[0]->([200, []])->write('some') } },
    '/die-poll'   => sub { sub { $_[0]->([200, []])->poll_cb(sub { die "dead in poll_cb\n" }) } },
    '/two'        => sub { [200, []] },
    '/status'     => sub { ['many', [], []] },
    '/headers'    => sub { [200, ['A'], []] },
    '/string'     => sub { 'a string' },
    '/body-hash'  => sub { [200, [], {}] },
    '/wide'       => sub { [200, [], ["\x{263a}"]] },
    '/twice'      => sub { sub { my $respond = $_[0]; $respond->(text('once')); eval { $respond->(text('twice')) }; push @told, $@ } },
    '/late-wrong' => sub { sub { my $respond = $_[0]; after(0.001, sub { $respond->('nothing') }) } },
    '/no-such-file' => sub { [200, [], Lines->new(sub { die "cannot read\n" })] },
);

my %sockets = (
    '/ws' => sub {
        my ($env) = @_;
        my $io = $env->{'psgix.io'};
        accept_ws($env, $io, "X-From: worker\r\n" . ($env->{HTTP_SEC_WEBSOCKET_PROTOCOL} ? "Sec-WebSocket-Protocol: chat\r\n" : ''));
        echo($io);
        return sub { };
    },
    # Answers besides that count for nothing.
    '/both' => sub {
        my ($env) = @_;
        my $io = $env->{'psgix.io'};
        return sub {
            my ($respond) = @_;
            accept_ws($env, $io, '');
            echo($io);
            $respond->([200, [], ['ignored']]);
        };
    },
    '/both-writer' => sub {
        my ($env) = @_;
        my $io = $env->{'psgix.io'};
        accept_ws($env, $io, '');
        echo($io);
        return sub { my $writer = $_[0]->([200, []]); $writer->write('ignored'); $writer->close };
    },
    '/both-array' => sub { my ($env) = @_; accept_ws($env, $env->{'psgix.io'}, ''); echo($env->{'psgix.io'}); [200, [], ['ignored']] },
    '/deny'       => sub { [403, ['X-Why' => 'closed'], ['no entry']] },
    '/deny-later' => sub { sub { my $respond = $_[0]; after(0.01, sub { $respond->([404, [], ['no such room']]) }) } },
    '/deny-raw'   => sub { syswrite $_[0]{'psgix.io'}, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nX-Raw: yes\r\n\r\nno"; sub { } },
    '/deny-lines' => sub { [403, [], Lines->new('no ', 'entry')] },
    '/nothing'    => sub { sub { } },
    '/die'        => sub { die "dead in a handshake\n" },
    '/rubbish'    => sub { syswrite $_[0]{'psgix.io'}, "SSH-2.0-what\r\n\r\n"; $kept{io} = $_[0]{'psgix.io'}; sub { } },
    '/extension'  => sub { my ($env) = @_; accept_ws($env, $env->{'psgix.io'}, "Sec-WebSocket-Extensions: permessage-deflate\r\n"); $kept{io} = $env->{'psgix.io'}; sub { } },
    '/environ'    => sub {
        my ($env) = @_;
        my $io = $env->{'psgix.io'};
        accept_ws($env, $io, '');
        syswrite $io, frame(1, join ',', map { defined $env->{$_} ? $env->{$_} : 'undef' } qw(REQUEST_METHOD SERVER_PROTOCOL psgi.url_scheme HTTP_UPGRADE HTTP_CONNECTION HTTP_SEC_WEBSOCKET_VERSION HTTP_SEC_WEBSOCKET_EXTENSIONS HTTP_HOST PATH_INFO QUERY_STRING)) . frame(8, '');
        return sub { $kept{io} = $io };
    },
    # Many messages of 10,000 bytes, as fast as they are taken.
    '/pour' => sub {
        my ($env) = @_;
        my $io = $env->{'psgix.io'};
        accept_ws($env, $io, '');
        my ($out, $n) = ('', 0);
        $loop->watch_io(handle => $io, on_write_ready => sub {
            $out = frame(2, 'b' x 10_000) if $out eq '' && ++$n;
            $kept{polled} = $n;
            if ($n > 500) { $loop->unwatch_io(handle => $io, on_write_ready => 1); close $io; return }
            my $wrote = syswrite $io, $out;
            substr $out, 0, $wrote, '' if $wrote;
        });
        return sub { };
    },
);

sub accept_ws {
    my ($env, $io, $headers) = @_;
    my $proof = encode_base64(sha1($env->{HTTP_SEC_WEBSOCKET_KEY} . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'), '');
    syswrite $io, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: $proof\r\n$headers\r\n" or die $!;
    return;
}

sub frame {
    my ($op, $payload, $more) = @_;
    my $n = length $payload;
    return pack('C', ($more ? 0 : 0x80) | $op) . ($n < 126 ? pack 'C', $n : $n < 65536 ? pack 'C n', 126, $n : pack 'C N N', 127, 0, $n) . $payload;
}

# echo answers each message.
sub echo {
    my ($io) = @_;
    my ($in, $out) = ('', '');
    my $write;
    $write = sub {
        while ($out ne '') {
            my $n = syswrite $io, $out;
            return $loop->watch_io(handle => $io, on_write_ready => sub { $loop->unwatch_io(handle => $io, on_write_ready => 1); $write->() }) if !$n;
            substr $out, 0, $n, '';
        }
    };
    my $end = sub { $loop->unwatch_io(handle => $io, on_read_ready => 1); close $io; undef $write };
    $loop->watch_io(handle => $io, on_read_ready => sub {
        my $n = sysread $io, $in, 65536, length $in;
        if (!$n) { push @told, 'end'; return $end->() }
        while (my ($op, $payload) = client_frame(\$in)) {
            if ($op == 8) { push @told, 'close ' . (length $payload ? join ' ', unpack 'n a*', $payload : 'without a code'); $out .= frame(8, $payload) }
            elsif ($op == 10)             { $out .= frame(1, "pong $payload") }
            elsif ($op == 2)              { $out .= frame(2, $payload) }
            elsif ($payload eq 'ping')    { $out .= frame(9, 'p') }
            elsif ($payload eq 'parts')   { $out .= frame(1, 'one ', 1) . frame(10, 'between') . frame(0, 'two') }
            elsif ($payload eq 'close')   { $out .= frame(8, pack('n', 4001) . 'because') }
            elsif ($payload eq 'drop')    { return $end->() }
            elsif ($payload eq 'latin1')  { $out .= frame(1, "\xe9") }
            else                          { $out .= frame(1, "echo $payload") }
        }
        $write->();
    });
    return;
}

# client_frame takes a frame off the bytes of a client, which must be masked.
sub client_frame {
    my ($in) = @_;
    return if length $$in < 6;
    my ($op, $n) = unpack 'C C', $$in;
    die "a frame without a mask\n" if !($n & 0x80);
    my $at = 2;
    $n &= 0x7f;
    if    ($n == 126) { ($n, $at) = (unpack('x2 n', $$in), 4) }
    elsif ($n == 127) { return if length $$in < 10; ($n, $at) = (unpack('x6 N', $$in), 10) }
    return if length $$in < $at + 4 + $n;
    my $mask = substr $$in, $at, 4;
    my $payload = substr $$in, $at + 4, $n;
    substr $$in, 0, $at + 4 + $n, '';
    return ($op & 15, $payload ^ substr $mask x (1 + $n / 4), 0, $n);
}

{
    package Lines;
    sub new { my ($class, @lines) = @_; return bless [@lines], $class }
    sub TIEHANDLE { return new(@_) }
    sub getline { my $line = shift @{ $_[0] }; return ref $line ? $line->() : $line }
    sub READLINE { return $_[0]->getline }
    sub close { push @told, 'closed'; return }
    sub CLOSE { return 1 }
}

{
    package Guard;
    sub DESTROY { push @told, 'guard dropped' }
}

sub {
    my ($env) = @_;
    my $page = ($env->{'psgix.io'} && ($env->{HTTP_UPGRADE} || '') eq 'websocket' ? $sockets{ $env->{PATH_INFO} } : $pages{ $env->{PATH_INFO} })
        or return [404, [], ["no page $env->{PATH_INFO}"]];
    return $page->($env);
};
