package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// handshakers is how many clients shake hands at the same time.
const handshakers = 8

// tls measures how many clients per second are let in by TLS 1.3, each with a whole
// handshake, beside net/http with the same certificate.
func (b *bench) tls() error {
	cert, key, err := b.certificate()
	if err != nil {
		return err
	}
	bare := filepath.Join(b.dir, "bare")
	if err := b.build(bare, "./bench/bare"); err != nil {
		return err
	}
	contestants := []struct {
		name  string
		start func(address string) *exec.Cmd
		rates []float64
	}{
		{"pagi-bridge", func(address string) *exec.Cmd {
			return exec.Command(b.binary, "-q", "--no-access-log", "-E", "deployment", "--listen", address, "--ssl-cert", cert, "--ssl-key", key, b.dir)
		}, nil},
		{"net/http", func(address string) *exec.Cmd { return exec.Command(bare, address, cert, key) }, nil},
	}
	var ratios []float64
	for range b.rounds {
		for i := range contestants {
			c := &contestants[i]
			rate, err := b.handshakes(c.start)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			c.rates = append(c.rates, rate)
		}
		n := len(contestants[0].rates) - 1
		ratios = append(ratios, contestants[0].rates[n]/contestants[1].rates[n])
	}
	fmt.Printf("%d rounds of %d s, %d clients, ECDSA P-256; medians\n\n", b.rounds, b.seconds, handshakers)
	fmt.Println("| | handshakes/s |")
	fmt.Println("| --- | ---: |")
	same := func(x float64) float64 { return x }
	for _, c := range contestants {
		fmt.Printf("| %s | %.0f |\n", c.name, median(c.rates, same))
	}
	fmt.Printf("\npagi-bridge / net/http: %.2f\n", median(ratios, same))
	return nil
}

// handshakes starts a server and returns how many handshakes per second it does.
func (b *bench) handshakes(start func(address string) *exec.Cmd) (rate float64, err error) {
	port, err := freePort()
	if err != nil {
		return 0, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	processes, err := launch(start(address))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, halt(processes)) }()
	config := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}
	for tries := 0; shake(address, config) != nil; tries++ {
		if tries == 200 {
			return 0, errors.New("it does not listen")
		}
		time.Sleep(50 * time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(b.seconds)*time.Second)
	defer cancel()
	var done, failed atomic.Int64
	var clients sync.WaitGroup
	begun := time.Now()
	for range handshakers {
		clients.Go(func() {
			for ctx.Err() == nil {
				if shake(address, config) == nil {
					done.Add(1)
				} else {
					failed.Add(1)
				}
			}
		})
	}
	clients.Wait()
	if n := failed.Load(); n > 0 {
		return 0, fmt.Errorf("%d handshakes failed", n)
	}
	return float64(done.Load()) / time.Since(begun).Seconds(), nil
}

// shake does one handshake and closes the connection at once, so that no port rests.
func shake(address string, config *tls.Config) error {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return err
	}
	err = errors.Join(conn.(*net.TCPConn).SetLinger(0), tls.Client(conn, config).Handshake())
	return errors.Join(err, conn.Close())
}

// certificate writes a certificate that signs itself, and its key.
func (b *bench) certificate() (certFile, keyFile string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return "", "", err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", err
	}
	certFile, err = b.write("cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	if err != nil {
		return "", "", err
	}
	keyFile, err = b.write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	return certFile, keyFile, err
}
