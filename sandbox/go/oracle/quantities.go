// Copyright (c) 2026, Airgap Speech contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/api/resource"
)

type quantityAnswer struct {
	Error     string `json:"error,omitempty"`
	Canonical string `json:"canonical,omitempty"`
	Value     int64  `json:"value"`
	Milli     int64  `json:"milli"`
}

// parseQuantity says what Go makes of one JSON string: whole units and thousandths (both rounded up), canonical form.
func parseQuantity(line []byte) any {
	var text string
	if err := json.Unmarshal(line, &text); err != nil {
		return quantityAnswer{Error: "no JSON string: " + err.Error()}
	}
	quantity, err := resource.ParseQuantity(text)
	if err != nil {
		return quantityAnswer{Error: err.Error()}
	}
	return quantityAnswer{Canonical: quantity.String(), Value: quantity.Value(), Milli: quantity.MilliValue()}
}
