#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

// Single values as the Go program and Kubernetes write them. Pure functions.
namespace sharder::app {

// Go's strconv.ParseBool: 1, t, T, TRUE, true, True and their opposites; nullopt for anything else.
std::optional<bool> parse_go_bool(std::string_view text);

// The candidate that was probably meant by `name`: few edits apart, letter case ignored; nullopt when none is near.
std::optional<std::string_view> closest(std::string_view name, std::span<const std::string_view> candidates);

// RFC 1123 label: at most 63 of a-z, 0-9 and '-', alphanumeric at both ends: what a namespace or Service may be called.
bool is_dns_label(std::string_view name);
// Labels joined by '.', at most 253 characters: what most objects may be called.
bool is_dns_subdomain(std::string_view name);
// An IPv4 or IPv6 address (without brackets) as inet_ntop() writes it: "FD00:0::1" is "fd00::1". nullopt: it is none.
std::optional<std::string> normal_ip_address(const std::string& text);
// Key of a label or annotation: "name" or "prefix/name"; the prefix a DNS subdomain, the name at most 63 characters of
// letters, digits, '-', '_' and '.', alphanumeric at both ends.
bool is_qualified_name(std::string_view name);

}  // namespace sharder::app
