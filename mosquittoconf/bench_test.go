package mosquittoconf_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/dojot/mqtt-manager-go/mosquittoconf"
)

// Ten thousand lines as they come about: a hub that reaches out to the brokers
// of its sites, and one that has a listener for each of them, each with a
// comment and a blank line.
const (
	hubHead = `# The hub.
per_listener_settings false
allow_anonymous false
acl_file /etc/mosquitto/access.acl
persistence true
persistence_location /var/lib/mosquitto/
log_dest file /var/log/mosquitto/mosquitto.log
log_type error
log_type warning

listener 8883
cafile /etc/mosquitto/ca_certificates/ca.crt
certfile /etc/mosquitto/certs/hub.crt
keyfile /etc/mosquitto/certs/hub.key
crlfile /etc/mosquitto/ca_certificates/ca.crl
require_certificate true
use_identity_as_username true
`
	bridgeOfSite = `
# Site SITE, in the north.
connection site-SITE
address site-SITE.example.org:8883 site-SITE.example.net:8883
remote_clientid hub-to-site-SITE
bridge_cafile /etc/mosquitto/ca_certificates/ca.crt
bridge_certfile /etc/mosquitto/certs/hub.crt
bridge_keyfile /etc/mosquitto/certs/hub.key
cleansession false
keepalive_interval 60
restart_timeout 5 300
notifications true
topic attrs/# in 1 sites/SITE/ ""
topic config/# out 1 sites/SITE/ ""
topic cmd/+/request out 1 sites/SITE/ ""
topic cmd/+/response in 1 sites/SITE/ ""
topic alarms/# both 2 sites/SITE/ hub/
`
	listenerOfSite = `
# Site SITE, in the north.
listener PORT 127.0.0.1
cafile /etc/mosquitto/ca_certificates/site-SITE.crt
certfile /etc/mosquitto/certs/hub.crt
keyfile /etc/mosquitto/certs/hub.key
crlfile /etc/mosquitto/ca_certificates/site-SITE.crl
tls_version tlsv1.2
require_certificate true
use_identity_as_username true
mount_point sites/SITE/
max_connections 1000
`
)

func largeFile(site string) []byte {
	var s strings.Builder
	s.WriteString(hubHead)
	lines := strings.Count(hubHead, "\n")
	for i := 0; lines < 10000; i++ {
		text := strings.NewReplacer("SITE", strconv.Itoa(i), "PORT", strconv.Itoa(10000+i)).Replace(site)
		s.WriteString(text)
		lines += strings.Count(text, "\n")
	}
	return []byte(s.String())
}

func BenchmarkParseAndVet(b *testing.B) {
	for _, shape := range []struct{ name, site string }{
		{"bridges", bridgeOfSite},
		{"listeners", listenerOfSite},
	} {
		data := largeFile(shape.site)
		for _, v := range []string{"2.0.11", "2.1.2"} {
			b.Run(shape.name+"/"+v, func(b *testing.B) {
				v := version(b, v)
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				for b.Loop() {
					f, err := mosquittoconf.Parse("mosquitto.conf", data)
					if err != nil {
						b.Fatal(err)
					}
					f.Vet(v)
				}
			})
		}
	}
}
