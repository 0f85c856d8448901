package app

import (
	"fmt"
	"io"
	stdlog "log"
	"regexp"
	"time"

	"github.com/sirupsen/logrus"
)

// NewLogger returns the one logger: text for people in development, without colours when plain, and JSON in production.
func NewLogger(w io.Writer, env, level string, plain bool) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(w)
	if parsed, err := logrus.ParseLevel(level); err == nil {
		log.SetLevel(parsed)
	}
	if env == "production" {
		log.SetFormatter(&logrus.JSONFormatter{})
	} else {
		log.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, TimestampFormat: time.DateTime, DisableColors: plain})
	}
	log.AddHook(redactor{})
	return log
}

// secret matches what looks like a token. It is a second net: nothing should get here.
var secret = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{10,}(\.[A-Za-z0-9_-]*)*|\b(rt|sk|at|ac)[_-][A-Za-z0-9_-]{8,}|(?i:bearer) [^\s"]+`)

// redactor takes what looks like a token out of every log line.
type redactor struct{}

func (redactor) Levels() []logrus.Level { return logrus.AllLevels }

func (redactor) Fire(e *logrus.Entry) error {
	e.Message = secret.ReplaceAllString(e.Message, "[redacted]")
	var clean logrus.Fields
	for k, v := range e.Data {
		text, ok := v.(string)
		if err, isErr := v.(error); isErr {
			text, ok = err.Error(), true
		} else if s, isStringer := v.(fmt.Stringer); isStringer {
			text, ok = s.String(), true
		}
		if ok && secret.MatchString(text) {
			if clean == nil {
				clean = logrus.Fields{}
				for k, v := range e.Data {
					clean[k] = v
				}
			}
			clean[k] = secret.ReplaceAllString(text, "[redacted]")
		}
	}
	if clean != nil {
		e.Data = clean
	}
	return nil
}

// standardLogger is for libraries that log by the standard package.
func standardLogger(log *logrus.Logger) *stdlog.Logger {
	return stdlog.New(log.WriterLevel(logrus.DebugLevel), "", 0)
}
