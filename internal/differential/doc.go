// Package differential holds no code. Its tests run one PAGI application in Perl under pagi-bridge and under the
// reference servers of PAGI, put the same bytes to each, and compare what comes back and what the application sees.
//
// The application is testdata/script.pl: a case tells it what to receive and to send. testdata/lib/Trace.pm logs its
// events. Answers of pagi-bridge are kept in testdata/answers-0.3.txt, and in testdata/answers-0.1.txt where those of
// specification 0.1 differ. What the references do otherwise is in testdata/differences.json, with a reason for each;
// docs/pagi-differences.md explains the reasons. "go test -update" writes these files anew; reasons stay.
package differential
