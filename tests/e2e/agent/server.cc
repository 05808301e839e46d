#include "server.h"

#include <httplib.h>

namespace agent {

namespace {

// Metadata is all that a shard needs to know whose an object is. The server sends the whole object where it cannot.
constexpr const char* kMetadataOnly = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
constexpr const char* kMetadataOnlyList =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

std::unique_ptr<httplib::Client> make_client(const Server& server) {
  auto client = server.certificate_file.empty()
                    ? std::make_unique<httplib::Client>(server.url)
                    : std::make_unique<httplib::Client>(server.url, server.certificate_file, server.key_file);
  if (!server.ca_file.empty()) {
    client->set_ca_cert_path(server.ca_file);
  }
  client->enable_server_certificate_verification(!server.ca_file.empty());
  client->set_keep_alive(true);
  client->set_tcp_nodelay(true);
  client->set_connection_timeout(10);
  client->set_read_timeout(90);  // above the 60 s of a stream
  client->set_write_timeout(30);
  return client;
}

bool is_list(const std::string& path) {
  return path.find("limit=") != std::string::npos;
}

}  // namespace

struct Connection::Impl {
  std::unique_ptr<httplib::Client> client;
  httplib::Headers headers;
};

Connection::Connection(const Server& server) : impl_(std::make_unique<Impl>()) {
  impl_->client = make_client(server);
  if (!server.token.empty()) {
    impl_->headers.emplace("Authorization", "Bearer " + server.token);
  }
}

Connection::~Connection() = default;

Connection::Answer Connection::get(const std::string& path) {
  auto headers = impl_->headers;
  headers.emplace("Accept", is_list(path) ? kMetadataOnlyList : kMetadataOnly);
  const auto result = impl_->client->Get(path, headers);
  return result ? Answer{result->status, result->body} : Answer{};
}

Connection::Answer Connection::merge_patch(const std::string& path, const std::string& body) {
  // As a controller that goes on with the object that its patch made.
  const auto result = impl_->client->Patch(path, impl_->headers, body, "application/merge-patch+json");
  return result ? Answer{result->status, result->body} : Answer{};
}

int Connection::stream(const std::string& path, const std::function<bool(std::string_view)>& line) {
  auto headers = impl_->headers;
  headers.emplace("Accept", kMetadataOnly);
  int status = 0;
  std::string rest;
  const auto result = impl_->client->Get(
      path, headers,
      [&](const httplib::Response& response) {
        status = response.status;
        return status == 200;
      },
      [&](const char* data, std::size_t size) {
        rest.append(data, size);
        std::size_t begin = 0;
        for (std::size_t end; (end = rest.find('\n', begin)) != std::string::npos; begin = end + 1) {
          if (end > begin && !line(std::string_view(rest).substr(begin, end - begin))) {
            return false;
          }
        }
        rest.erase(0, begin);
        return true;
      });
  return status;
}

}  // namespace agent
