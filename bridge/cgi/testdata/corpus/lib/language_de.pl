sub hello { return "hallo" }
1;
