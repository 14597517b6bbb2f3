package Local::Filter;

use strict;
use warnings;
use Filter::Util::Call;

sub import {
    filter_add(sub {
        my $status = filter_read();
        s/"shouted/"SHOUTED/ if $status > 0;
        return $status;
    });
    return;
}

1;
