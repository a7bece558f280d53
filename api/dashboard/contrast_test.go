package dashboard

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Text can be read on everything that it stands on, in both themes: a contrast
// of 4.5 at least (WCAG 2.2, 1.4.3).
func TestContrast(t *testing.T) {
	p, _ := newPage(t)
	css := string(p.files["/page/theme.css"].content)
	light, rest, found := strings.Cut(css, `:root[data-theme="dark"]`)
	if !found {
		t.Fatal("there is no dark theme")
	}
	dark, _, _ := strings.Cut(rest, "}")
	for name, text := range map[string]string{"light": light, "dark": dark} {
		colours := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`).FindAllStringSubmatch(text, -1) {
			colours[m[1]] = luminance(t, m[2])
		}
		for _, ink := range []string{"ink", "soft", "network", "application", "kernel", "reset", "alarm-text"} {
			for _, ground := range []string{"paper", "raised", "band"} {
				checkContrast(t, name, colours, ink, ground)
			}
		}
		checkContrast(t, name, colours, "on-alarm", "alarm")
	}
}

func checkContrast(t *testing.T, theme string, colours map[string]float64, ink, ground string) {
	t.Helper()
	a, there := colours[ink]
	b, too := colours[ground]
	if !there || !too {
		t.Fatalf("%s: --%s or --%s is missing", theme, ink, ground)
	}
	if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < 4.5 {
		t.Errorf("%s: --%s on --%s has a contrast of %.2f", theme, ink, ground, ratio)
	}
}

// luminance is the relative luminance of a colour rrggbb in sRGB (WCAG 2.2).
func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		octet, err := strconv.ParseUint(colour[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		part := float64(octet) / 255
		if part <= 0.04045 {
			part /= 12.92
		} else {
			part = math.Pow((part+0.055)/1.055, 2.4)
		}
		sum += weight * part
	}
	return sum
}
