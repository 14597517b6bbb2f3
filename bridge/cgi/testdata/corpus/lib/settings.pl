our %settings = (colour => 'red', size => 3);
1;
