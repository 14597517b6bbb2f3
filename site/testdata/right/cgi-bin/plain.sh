printf 'Content-Type: text/plain\n\nhello without a bit\n'
