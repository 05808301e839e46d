#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/guarded.h"
#include "tests/apiserver/admission.h"
#include "tests/apiserver/apply.h"
#include "tests/apiserver/catalog.h"
#include "tests/apiserver/database.h"
#include "tests/apiserver/faults.h"
#include "tests/apiserver/remover.h"
#include "tests/apiserver/request.h"

namespace sharder::apiserver {

// What a write did: HTTP code and JSON text.
struct Written {
  int code = 200;
  std::string text = {};
};

// Writing: create, update, patch, apply. Safe from any thread: it decides on one version of an object and stores the
// result only if that still is the newest, else it decides anew.
class Writer {
 public:
  Writer(Database& database, Published<Catalog>& catalog, Admission& admission, Remover& remover,
         const ServerClock& clock)
      : database_(database), catalog_(catalog), admission_(admission), remover_(remover), clock_(clock) {}

  Outcome<Written> create(const Request& request, const Route& route, const Resource& resource);
  Outcome<Written> update(const Request& request, const Route& route, const Resource& resource);
  Outcome<Written> patch(const Request& request, const Route& route, const Resource& resource);

  // For the server's own objects: namespaces that always exist, definitions from files.
  Outcome<Written> create_object(const Request& request, const Route& route, const Resource& resource,
                                 nlohmann::json object, bool apply = false);

 private:
  Outcome<Written> apply_patch(const Request& request, const Route& route, const Resource& resource,
                               nlohmann::json applied);
  FieldManager manager_of(const Request& request, const Route& route, const Resource& resource) const;
  // From the object as it is to the object as the client wants it.
  using Change = std::function<Outcome<nlohmann::json>(const nlohmann::json&)>;
  struct Write {
    const Request& request;
    const Route& route;
    const Resource& resource;
    Form form = Form::kFull;
    bool dry_run = false;
    bool put = false;
    bool apply = false;
  };
  Outcome<Written> modify(const Write& write, const Change& change);
  Outcome<nlohmann::json> decide(const Write& write, const nlohmann::json& before, const Change& change);
  Outcome<Written> store(const Write& write, const ObjectPtr& base, const nlohmann::json& before, nlohmann::json after);
  void note_definition(const Resource& resource, const nlohmann::json& object);

  Database& database_;
  Published<Catalog>& catalog_;
  Admission& admission_;
  Remover& remover_;
  const ServerClock& clock_;
};

}  // namespace sharder::apiserver
