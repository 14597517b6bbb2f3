package Local::First; $Local::order .= defined $Local::order ? "-first" : "first"; 1;
