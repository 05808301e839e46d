#pragma once

#include <string>
#include <string_view>

namespace sharder::ops {

// Whether the text is an address of the loopback interface: 127.0.0.0/8 or ::1, without brackets. A name is none: what
// it means is for the resolver to say.
bool is_loopback_address(const std::string& text);

// Whether a Host header ("127.0.0.1:8082", "[::1]", "localhost") means this machine. A page of another site that has
// its name resolve to this machine (DNS rebinding) sends that name.
bool is_loopback_host(std::string_view host);

}  // namespace sharder::ops
