package dojotevents

import "strings"

// Subjects of dojot's events. In dojot 0.5 and later an event's topic is
// <tenant>.<subject>; before, data-broker answered for each tenant and subject
// which topic it was.
const (
	// Subject is that of device-manager's events, and the name of the one
	// topic of all tenants that it published to before topics had tenants.
	Subject = "dojot.device-manager.device"

	CertificatesSubject = "dojot.x509-identity-mgmt.certificates" // applications' certificates are in the topic of this name, without a tenant
	TrustedCAsSubject   = "dojot.x509-identity-mgmt.trusted-cas"
	TenancySubject      = "dojot.tenancy"
)

// ManagementTenant is the tenant under which news of all tenants are published.
const ManagementTenant = "dojot-management"

// Topic returns the name of the topic with tenant's device events. The name
// is not checked against Kafka's rules for topics.
func Topic(tenant string) string { return tenant + "." + Subject }

// SubjectTopic returns the name of tenant's topic for a subject, which without
// a tenant is the subject itself.
func SubjectTopic(tenant, subject string) string {
	if tenant == "" {
		return subject
	}
	return tenant + "." + subject
}

// TopicTenant returns the tenant to whom a topic belongs, if the topic is one of
// a single tenant's devices, certificates or trusted CAs. Events in it must not
// speak of another.
func TopicTenant(topic string) (tenant string, ok bool) {
	for _, subject := range []string{Subject, CertificatesSubject, TrustedCAsSubject} {
		if tenant, ok := strings.CutSuffix(topic, "."+subject); ok {
			return tenant, true
		}
	}
	return "", false
}
