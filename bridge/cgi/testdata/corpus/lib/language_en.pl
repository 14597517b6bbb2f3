sub hello { return "hello" }
1;
