#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	char buf[65536];
	size_t n;

	printf("Status: 222\r\nContent-Type: application/octet-stream\r\n\r\n");
	printf("%s|%s|%s|%s\n", getenv("REQUEST_METHOD"), getenv("QUERY_STRING"), getenv("PATH_INFO"), getenv("CONTENT_LENGTH"));
	while ((n = fread(buf, 1, sizeof buf, stdin)) > 0)
		fwrite(buf, 1, n, stdout);
	return ferror(stdin) || fclose(stdout) != 0;
}
