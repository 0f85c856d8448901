package creds

// Status is the sign-in's state in a word.
type Status string

// What a sign-in can be.
const (
	StatusNone           Status = "none"            // nobody has signed in
	StatusSignedIn       Status = "signed_in"       // all is well
	StatusExpiring       Status = "expiring"        // the access token ends soon
	StatusRefreshing     Status = "refreshing"      // a refresh is under way, and nothing was wrong before it
	StatusRefreshFailing Status = "refresh_failing" // the last refresh failed and will be tried again
	StatusSignInAgain    Status = "sign_in_again"   // only the user can bring a sign-in that works
)

// event is something that happens to a sign-in.
type event string

const (
	eventSignedIn    event = "signed in"     // there is another sign-in than before
	eventAbsent      event = "absent"        // there is none any more
	eventBegan       event = "began"         // a refresh was sent
	eventUnsaved     event = "unsaved"       // its answer could not be stored
	eventSaved       event = "saved"         // what could not be stored is stored now
	eventFailed      event = "failed"        // for now
	eventEnded       event = "ended"         // for good
	eventAccepted    event = "accepted"      // a token that had been refused works
	eventAging       event = "aging"         // the access token ends soon
	eventOutOfTokens event = "out of tokens" // the access token has ended and nothing can replace it
)

// transitions says what follows on what. An event that is not in a row leaves the status as it is.
//
// A status that tells of trouble stays during the next try, so that what is shown does not flicker.
var transitions = map[Status]map[event]Status{
	StatusNone: {
		eventSignedIn: StatusSignedIn,
	},
	StatusSignedIn: {
		eventAbsent: StatusNone, eventBegan: StatusRefreshing, eventFailed: StatusRefreshFailing, eventUnsaved: StatusRefreshFailing,
		eventEnded: StatusSignInAgain, eventAging: StatusExpiring, eventOutOfTokens: StatusSignInAgain,
	},
	StatusExpiring: {
		eventOutOfTokens: StatusSignInAgain,
	},
	StatusRefreshing: {
		eventSignedIn: StatusSignedIn, eventAbsent: StatusNone, eventUnsaved: StatusRefreshFailing,
		eventFailed: StatusRefreshFailing, eventEnded: StatusSignInAgain,
	},
	StatusRefreshFailing: {
		eventSignedIn: StatusSignedIn, eventAbsent: StatusNone, eventSaved: StatusSignedIn,
		eventEnded: StatusSignInAgain, eventOutOfTokens: StatusSignInAgain,
	},
	StatusSignInAgain: {
		eventSignedIn: StatusSignedIn, eventAbsent: StatusNone, eventUnsaved: StatusRefreshFailing,
		eventAccepted: StatusSignedIn,
	},
}

// after is the status that follows s on e.
func (s Status) after(e event) Status {
	if next, ok := transitions[s][e]; ok {
		return next
	}
	return s
}
