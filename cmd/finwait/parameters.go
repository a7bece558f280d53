package main

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/spf13/cobra"

	"github.com/finwait/finwait/api/server"
)

// apiDocument describes the API that this program was built with.
var apiDocument = sync.OnceValue(func() *huma.OpenAPI { return server.OpenAPI(version()) })

// flagOf is a parameter of the API as it is written in the shell. Its server
// and client are addresses, and --server is the appliance that is asked: they
// have the names of the record's fields.
func flagOf(parameter string) string { return "--" + flagName(parameter) }

func flagName(parameter string) string {
	switch parameter {
	case "server", "client":
		parameter += "_ip"
	}
	return strings.ReplaceAll(parameter, "_", "-")
}

// parameterFlags are the parameters of an operation of the API as flags. They
// are made from the document that the API serves, so that none can be missing,
// and the appliance judges their values, so that there is one set of rules.
type parameterFlags []*parameterFlag

// parameterFlag implements pflag.Value.
type parameterFlag struct {
	name    string // of the API
	several bool
	kind    string
	given   []string
}

func (f *parameterFlag) String() string { return strings.Join(f.given, ",") }
func (f *parameterFlag) Type() string   { return f.kind }

func (f *parameterFlag) Set(value string) error {
	if !f.several {
		f.given = nil
	}
	f.given = append(f.given, value)
	return nil
}

// parametersOf are those that the operation at path has in its query.
func parametersOf(path string) []*huma.Param {
	var list []*huma.Param
	for _, p := range apiDocument().Paths[path].Get.Parameters {
		if p.In == "query" {
			list = append(list, p)
		}
	}
	return list
}

func hasParameter(path, name string) bool {
	return slices.ContainsFunc(parametersOf(path), func(p *huma.Param) bool { return p.Name == name })
}

// addParameterFlags adds those of the operation at path that are wanted. preset
// are values that hold where the flag is not given.
func addParameterFlags(cmd *cobra.Command, path string, preset map[string]string, wanted func(name string) bool) parameterFlags {
	var all parameterFlags
	flags := cmd.Flags()
	flags.SortFlags = false // filters stand in the order in which they are documented
	for _, p := range parametersOf(path) {
		if !wanted(p.Name) {
			continue
		}
		schema, f := p.Schema, &parameterFlag{name: p.Name, kind: p.Schema.Type}
		if schema.Type == huma.TypeArray {
			schema, f.several, f.kind = schema.Items, true, "list"
		}
		if value, found := preset[p.Name]; found {
			f.given = []string{value}
		}
		all = append(all, f)
		flags.Var(f, flagName(p.Name), usage(p, schema))
		if terms := termsOf(p); len(terms) > 0 {
			complete(cmd, flagName(p.Name), terms)
		}
	}
	return all
}

// usage is a parameter's description, in the form of those of other flags.
func usage(p *huma.Param, schema *huma.Schema) string {
	text, _, _ := strings.Cut(p.Description, "; several, ") // a list, as the help says once
	text = strings.ToLower(text[:1]) + text[1:]
	if strings.HasPrefix(p.Description, "RFC") || strings.HasPrefix(p.Description, "IPv") {
		text = p.Description
	}
	if terms := termsOf(p); len(terms) > 0 {
		text += " (" + strings.Join(terms, ", ") + ")"
	} else if len(schema.Examples) > 0 {
		if example := fmt.Sprintf("as %v", schema.Examples[0]); !strings.Contains(text, example) {
			text += " (" + example + ")"
		}
	}
	return text
}

// termsOf are the values that a parameter is chosen from.
func termsOf(p *huma.Param) []string {
	schema := p.Schema
	if schema.Type == huma.TypeArray {
		schema = schema.Items
	}
	var terms []string
	for _, term := range schema.Enum {
		if text := fmt.Sprint(term); text != "" && !slices.Contains(terms, text) {
			terms = append(terms, text)
		}
	}
	return terms
}

// query is what was given, and what is preset.
func (all parameterFlags) query() url.Values {
	query := url.Values{}
	for _, f := range all {
		if len(f.given) > 0 {
			query.Set(f.name, strings.Join(f.given, ","))
		}
	}
	return query
}

func everyParameter(string) bool { return true }
