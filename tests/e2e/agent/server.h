#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace agent {

// How to reach an API server, and as whom: a client certificate (files), a token, or nobody.
struct Server {
  std::string url;  // http:// or https://, host and port
  std::string ca_file, certificate_file, key_file, token;
};

// One keep-alive connection over HTTP/1.1, of one thread. status 0: the connection failed.
class Connection {
 public:
  struct Answer {
    int status = 0;
    std::string body;
  };

  explicit Connection(const Server& server);
  ~Connection();

  Answer get(const std::string& path);
  Answer merge_patch(const std::string& path, const std::string& body);

  // Reads a stream line by line until the server ends it or `line` returns false; its status.
  int stream(const std::string& path, const std::function<bool(std::string_view)>& line);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace agent
