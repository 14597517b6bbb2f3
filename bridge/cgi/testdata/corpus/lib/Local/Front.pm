package Local::Front; my $name = $ENV{LOCAL_BACKEND} || "Local::First"; (my $file = "$name.pm") =~ s{::}{/}g; require $file; sub backend { $name } delete $ENV{LOCAL_BACKEND}; 1;
