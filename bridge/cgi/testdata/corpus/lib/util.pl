sub greeting { return "hello, $_[0], from " . __FILE__ . ' line ' . __LINE__ }
1;
