package provision

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dojot/mqtt-manager-go/internal/tlsalert"
)

// explain knows more than Explain: the files.
func (c *check) explain(err error) (Explanation, bool) {
	if alert, ok := tlsalert.Received(err); ok {
		if e, ok := c.explainAlert(alert); ok {
			return e, true
		}
	}
	if e, ok := explainBroker(err, c.chain); ok {
		return e, true
	}
	if connack, ok := errors.AsType[*ConnackError](err); ok && !c.asked && (connack.Reason == reasonBadUserName || connack.Reason == reasonNotAuthorized) {
		return Explanation{
			"the broker did not ask for the client's certificate, so it does not know the user",
			"set require_certificate true for that listener, and restart the broker"}, true
	}
	if puback, ok := errors.AsType[*PubackError](err); ok && puback.Reason == reasonNotAuthorized {
		if e, ok := c.explainDiscarded(puback.Topic); ok {
			return e, true
		}
	}
	return Explain(err)
}

// explainDiscarded asks the rules, where they can be read.
func (c *check) explainDiscarded(topic string) (Explanation, bool) {
	user := c.user()
	if c.Allows != nil {
		allowed, why := c.Allows(user, c.ClientID, topic)
		despite := fmt.Sprintf("the broker discards messages to %q, although the rules in its file allow them: %s", topic, why)
		const remedy = "have it read the file again (SIGHUP), and look into its log for an error of the file"
		switch {
		case !allowed:
			return Explanation{
				fmt.Sprintf("the broker's access rules do not let %q publish to %q: %s", user, topic, why),
				remedyRules}, true
		case c.mattersWhoItIs(topic, allowed):
			return Explanation{
				despite + "; it has not read the file since it changed, or takes the client for an anonymous one, to whom they do not allow this",
				remedy + remedyAnonymous}, true
		}
		return Explanation{despite, remedy}, true
	}
	if strings.ContainsAny(user+c.ClientID, "+#") {
		return Explanation{
			fmt.Sprintf("the broker's access rules do not let this client publish to %q; where they have patterns, a client with + or # in its user name or client id, here %q and %q, gets nothing from them", topic, user, c.ClientID),
			"choose a name without + and #; or " + remedyRules}, true
	}
	return Explanation{}, false
}

// remedyAnonymous follows the remedy for a broker that does not work by its
// rules: a reload is sooner tried than a restart, and does no harm.
const remedyAnonymous = "; if the listener has neither use_identity_as_username nor use_subject_as_username, set the one that suits the rules, and restart the broker"
