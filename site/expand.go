package site

import (
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// variable matches ${NAME} and ${NAME:-default} of the environment, and their escaped form with one
// more dollar sign.
var variable = regexp.MustCompile(`\$?\$\{[^}]*\}?`)

// nameAndDefault matches the text between the braces of a variable.
var nameAndDefault = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)(:-(.*))?$`)

// expand expands environment variables in the text of a scalar: ${NAME}, or ${NAME:-default} with a
// default for a variable that is not set or empty. $${ stands for ${. Every other dollar sign
// stays.
func (d *decoder) expand(n ast.Node, text string) string {
	return variable.ReplaceAllStringFunc(text, func(found string) string {
		if literal, escaped := strings.CutPrefix(found, "$$"); escaped {
			return "$" + literal
		}
		inner, closed := strings.CutSuffix(found[len("${"):], "}")
		parts := nameAndDefault.FindStringSubmatch(inner)
		if !closed || parts == nil {
			d.problems.add(d.at(n), "%s is neither ${NAME} nor ${NAME:-default}; write $%s if it is no variable of the environment", found, found)
			return found
		}
		value, set := d.lookupEnv(parts[1])
		switch hasDefault := parts[2] != ""; {
		case value != "", set && !hasDefault:
			return value
		case hasDefault:
			return parts[3]
		}
		d.problems.add(d.at(n), "the environment has no variable %s; give it a default, as in ${%s:-default}, or write $%s if it is none", parts[1], parts[1], found)
		return found
	})
}

// hasVariable reports whether a scalar contains a variable.
func (d *decoder) hasVariable(n ast.Node) bool {
	text, _ := d.literal(n)
	return variable.MatchString(text)
}

// expandAll puts the environment's variables into every text in a collection.
// A text with an anchor may be reached again by its aliases.
func (d *decoder) expandAll(n ast.Node) { ast.Walk(expander{d}, n) }

type expander struct{ *decoder }

// Visit is called by ast.Walk.
func (e expander) Visit(n ast.Node) ast.Visitor {
	switch v := n.(type) {
	case *ast.MappingValueNode:
		v.Value = e.follow(v.Value)
		ast.Walk(e, v.Value)
		return nil // a key is no value
	case *ast.SequenceNode:
		for i, value := range v.Values {
			v.Values[i] = e.follow(value)
		}
	case *ast.AliasNode:
		if _, done := e.written[n]; !done { // it may stand in what it is an alias of
			e.written[n] = ""
			ast.Walk(e, e.plain(n))
		}
		return nil
	case *ast.StringNode:
		text := e.asWritten(v)
		e.written[n] = text
		v.Value = e.expand(n, text)
	}
	return e
}

// follow returns the scalar that an alias stands for, because the YAML library finds no anchor
// outside the collection. It returns any other node as it is.
func (d *decoder) follow(n ast.Node) ast.Node {
	if _, isAlias := n.(*ast.AliasNode); isAlias {
		if _, isScalar := d.literal(n); isScalar {
			return d.plain(n)
		}
	}
	return n
}

// asWritten is the text of a node before expandAll.
func (d *decoder) asWritten(n *ast.StringNode) string {
	if text, replaced := d.written[n]; replaced {
		return text
	}
	return n.Value
}
