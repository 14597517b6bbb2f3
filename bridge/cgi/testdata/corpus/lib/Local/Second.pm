package Local::Second; $Local::order .= defined $Local::order ? "-second" : "second"; 1;
