no first line
