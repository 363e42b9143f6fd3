// Results files from strangers. Each is made with the HDF5 library itself, from
// a good file; each has to end as an InputError of one line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>

#include <string>
#include <vector>

#include "lib/results/hdf5_file.h"
#include "lib/support/error.h"
#include "tests/child_process.h"
#include "tests/lib/results/refusal.h"
#include "tests/lib/results/sample_cells.h"
#include "tests/temporary_folder.h"

namespace wush {
namespace {

namespace fs = std::filesystem;

using testing::good_file;
using ::testing::HasSubstr;
using testing::message_of;
using testing::refusal;
using testing::sample_key;
using testing::TemporaryFolder;
using testing::write_bytes;

// ---- Files that HDF5 changed.

// A dataset of doubles under `place` with these dimensions and properties.
void put_dataset(hid_t file, const std::string& place,
                 const std::vector<hsize_t>& dims, hid_t properties,
                 hid_t type = H5T_IEEE_F64LE) {
  H5Ldelete(file, place.c_str(), H5P_DEFAULT);
  const hid_t space =
      H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr);
  const hid_t dataset = H5Dcreate2(file, place.c_str(), type, space,
                                   H5P_DEFAULT, properties, H5P_DEFAULT);
  ASSERT_GE(dataset, 0) << place;
  H5Dclose(dataset);
  H5Sclose(space);
}

void put_attribute(hid_t file, const std::string& place,
                   const std::string& name, hid_t type, const void* data,
                   bool scalar = true) {
  const hid_t object = H5Oopen(file, place.c_str(), H5P_DEFAULT);
  H5Adelete(object, name.c_str());
  const hsize_t two = 2;
  const hid_t space =
      scalar ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &two, nullptr);
  const hid_t attribute =
      H5Acreate2(object, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT);
  ASSERT_GE(attribute, 0) << name;
  ASSERT_GE(H5Awrite(attribute, type, data), 0);
  H5Aclose(attribute);
  H5Sclose(space);
  H5Oclose(object);
}

hid_t chunked() {
  const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
  const hsize_t chunk = 4;
  H5Pset_chunk(properties, 1, &chunk);
  return properties;
}

hid_t text_type(std::size_t size) {
  const hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, size);
  return type;
}

std::string cell_place() { return "/runs/" + sample_key(1); }
std::string column_place() { return cell_place() + "/perplexity/window_nll"; }

struct ChangedFile {
  const char* name;
  void (*change)(hid_t file);
  const char* message;
};

class ChangedFileTest : public ::testing::TestWithParam<ChangedFile> {};

TEST_P(ChangedFileTest, IsRefused) {
  const TemporaryFolder folder;
  const fs::path path = folder / "changed.h5";
  write_bytes(path, good_file());
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  ASSERT_GE(file, 0);
  GetParam().change(file);
  ASSERT_GE(H5Fclose(file), 0);
  const std::string message = refusal(path);
  EXPECT_THAT(message, HasSubstr(GetParam().message));
  // The child process, in which HDF5 runs, changes nothing in the message.
  EXPECT_EQ(message_of<InputError>([&] { hdf5::read_content_here(path); }),
            message);
}

const ChangedFile kChangedFiles[] = {
    {"ExternalLink",
     [](hid_t file) {
       H5Lcreate_external("other.h5", "/runs/x", file, "/runs/x", H5P_DEFAULT,
                          H5P_DEFAULT);
     },
     "#/runs/x: expected a hard link, found an external link"},
    {"ExternalLinkForAColumn",
     [](hid_t file) {
       H5Ldelete(file, column_place().c_str(), H5P_DEFAULT);
       H5Lcreate_external("/etc/passwd", "/", file, column_place().c_str(),
                          H5P_DEFAULT, H5P_DEFAULT);
     },
     "found an external link"},
    {"SoftLink",
     [](hid_t file) {
       H5Lcreate_soft("/runs", file, (cell_place() + "/loop").c_str(),
                      H5P_DEFAULT, H5P_DEFAULT);
     },
     "found a soft link"},
    {"ExternalStorage",
     [](hid_t file) {
       const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
       H5Pset_external(properties, "/etc/passwd", 0, 64);
       put_dataset(file, column_place(), {8}, properties);
     },
     "window_nll: expected data in this file, found external storage"},
    {"VirtualDataset",
     [](hid_t file) {
       const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
       const hsize_t size = 8;
       const hid_t space = H5Screate_simple(1, &size, nullptr);
       H5Pset_virtual(properties, space, "other.h5", "/data", space);
       put_dataset(file, column_place(), {8}, properties);
     },
     "window_nll: expected data in this file, found a virtual dataset"},
    {"DynamicFilter",
     [](hid_t file) {
       const hid_t properties = chunked();
       H5Pset_filter(properties, 32004, H5Z_FLAG_OPTIONAL, 0, nullptr);
       put_dataset(file, column_place(), {8}, properties);
     },
     "window_nll: expected data without filters, found filter 32004"},
    {"Deflate",
     [](hid_t file) {
       const hid_t properties = chunked();
       H5Pset_deflate(properties, 9);
       put_dataset(file, column_place(), {1 << 20}, properties);
     },
     "found filter 1"},
    {"Chunks",
     [](hid_t file) { put_dataset(file, column_place(), {8}, chunked()); },
     "expected contiguous data, found chunks"},
    {"AbsurdSize",
     [](hid_t file) {
       put_dataset(file, column_place(), {hsize_t{1} << 50}, H5P_DEFAULT);
     },
     "found 1125899906842624 elements of 8 bytes"},
    {"NothingStored",
     [](hid_t file) { put_dataset(file, column_place(), {8}, H5P_DEFAULT); },
     "expected 64 bytes stored, found 0"},
    {"TwoDimensions",
     [](hid_t file) {
       put_dataset(file, column_place(), {2, 4}, H5P_DEFAULT);
     },
     "expected one dimension, found 2"},
    {"Scalar",
     [](hid_t file) { put_dataset(file, column_place(), {}, H5P_DEFAULT); },
     "expected one dimension, found 0"},
    {"Float32",
     [](hid_t file) {
       put_dataset(file, column_place(), {8}, H5P_DEFAULT, H5T_IEEE_F32LE);
     },
     "window_nll: expected text of fixed length, float64 or int64"},
    {"BigEndian",
     [](hid_t file) {
       put_dataset(file, column_place(), {8}, H5P_DEFAULT, H5T_IEEE_F64BE);
     },
     "float64 or int64"},
    {"VariableText",
     [](hid_t file) {
       const char* text = "nano";
       put_attribute(file, cell_place(), "model", text_type(H5T_VARIABLE),
                     &text);
     },
     "/model: expected text of fixed length"},
    {"ArrayAttribute",
     [](hid_t file) {
       const double values[] = {1, 2};
       put_attribute(file, cell_place(), "model", H5T_NATIVE_DOUBLE, values,
                     false);
     },
     "expected a scalar attribute"},
    {"TextThatIsNotUtf8",
     [](hid_t file) {
       put_attribute(file, cell_place(), "model", text_type(3), "a\xff\xfe");
     },
     "expected UTF-8 text"},
    {"ManyAttributes",
     [](hid_t file) {
       for (int i = 0; i < 1000; ++i) {
         put_attribute(file, cell_place(), "option" + std::to_string(i),
                       text_type(1), "x");
       }
     },
     "expected at most 1000 attributes"},
    {"LongAttribute",
     [](hid_t file) {
       // Above 64 KiB an attribute needs storage of its own, which the older
       // format has not; this is the largest that it takes.
       put_attribute(file, cell_place(), "model", text_type(64000),
                     std::string(64000, 'm').c_str());
     },
     "expected content with the SHA-256"},
    {"LongAttributeName",
     [](hid_t file) {
       put_attribute(file, cell_place(), std::string(3000, 'n'), text_type(1),
                     "x");
     },
     "names of at most 255 bytes"},
    {"LongLinkName",
     [](hid_t file) {
       H5Lmove(file, cell_place().c_str(), file,
               ("/runs/" + std::string(3000, 'n')).c_str(), H5P_DEFAULT,
               H5P_DEFAULT);
     },
     "expected a name of at most 255 bytes"},
    {"UnitOnly",
     [](hid_t file) {
       put_attribute(file, column_place(), "scale", text_type(1), "x");
     },
     "no attribute but \"unit\", found \"scale\""},
    {"NoUnit",
     [](hid_t file) {
       H5Adelete_by_name(file, column_place().c_str(), "unit", H5P_DEFAULT);
     },
     "expected the text attribute \"unit\", found none"},
    {"ColumnIsAGroup",
     [](hid_t file) {
       H5Gclose(H5Gcreate2(file, (cell_place() + "/kl/more").c_str(),
                           H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
     },
     "/kl/more: expected a dataset, found a group"},
    {"TableIsADataset",
     [](hid_t file) {
       put_dataset(file, cell_place() + "/more", {8}, H5P_DEFAULT);
     },
     "/more: expected a group, found a dataset"},
    {"CellIsANamedType",
     [](hid_t file) {
       const hid_t type = text_type(4);
       H5Tcommit2(file, "/runs/type", type, H5P_DEFAULT, H5P_DEFAULT,
                  H5P_DEFAULT);
       H5Tclose(type);
     },
     "expected a group, found a named type"},
    {"GroupInItself",
     [](hid_t file) {
       H5Lcreate_hard(file, "/runs", file, (cell_place() + "/runs").c_str(),
                      H5P_DEFAULT, H5P_DEFAULT);
     },
     "expected a dataset, found a group"},
    {"GroupWithoutOrder",
     [](hid_t file) {
       H5Gclose(H5Gcreate2(file, (cell_place() + "/more").c_str(), H5P_DEFAULT,
                           H5P_DEFAULT, H5P_DEFAULT));
     },
     "cannot list links in the order of their creation"},
    {"OneDatasetUnderManyNames",
     [](hid_t file) {
       for (int i = 0; i < 5000; ++i) {
         H5Lcreate_hard(
             file, column_place().c_str(), file,
             (cell_place() + "/perplexity/" + std::to_string(i)).c_str(),
             H5P_DEFAULT, H5P_DEFAULT);
       }
     },
     "expected data within the file's"},
    {"ObjectInTheRoot",
     [](hid_t file) { put_dataset(file, "/extra", {8}, H5P_DEFAULT); },
     "#/extra: expected only /config, /provenance and /runs"},
    {"AttributeOfTheRoot",
     [](hid_t file) { put_attribute(file, "/", "extra", text_type(1), "x"); },
     "expected no further attributes"},
    {"OtherVersion",
     [](hid_t file) {
       const std::int64_t version = 2;
       put_attribute(file, "/", "schema_version", H5T_STD_I64LE, &version);
     },
     "expected schema version 1, found 2"},
    {"VersionInText",
     [](hid_t file) {
       put_attribute(file, "/", "schema_version", text_type(1), "1");
     },
     "expected schema version 1, found none"},
    {"OtherSchema",
     [](hid_t file) {
       put_attribute(file, "/", "schema", text_type(5), "other");
     },
     "expected the schema \"wush-results\", found \"other\""},
    {"NoSchema",
     [](hid_t file) { H5Adelete_by_name(file, "/", "schema", H5P_DEFAULT); },
     "expected the text attribute \"schema\", found none"},
    {"NoRuns", [](hid_t file) { H5Ldelete(file, "/runs", H5P_DEFAULT); },
     "expected the group /runs, found none"},
    {"ConfigIsNumbers",
     [](hid_t file) { put_dataset(file, "/config", {8}, H5P_DEFAULT); },
     "#/config: expected one text of fixed length"},
    {"ConfigChanged",
     [](hid_t file) {
       const hid_t config = H5Dopen2(file, "/config", H5P_DEFAULT);
       const hid_t type = H5Dget_type(config);
       H5Dwrite(config, type, H5S_ALL, H5S_ALL, H5P_DEFAULT,
                "name: demo\nseed: 1\n");
       H5Tclose(type);
       H5Dclose(config);
     },
     "#/config: expected content with the SHA-256"},
    {"ProvenanceChanged",
     [](hid_t file) {
       put_attribute(file, "/provenance", "version", text_type(5), "9.9.9");
     },
     "#/provenance: expected content with the SHA-256"},
    {"NumberInProvenance",
     [](hid_t file) {
       const double value = 1;
       put_attribute(file, "/provenance", "a", H5T_IEEE_F64LE, &value);
     },
     "SHA-256"},
    {"OptionChanged",
     [](hid_t file) {
       put_attribute(file, cell_place(), "lambda", text_type(1), "1");
     },
     "expected content with the SHA-256"},
    {"CellRenamed",
     [](hid_t file) {
       H5Lmove(file, cell_place().c_str(), file,
               ("/runs/" + std::string(32, 'a')).c_str(), H5P_DEFAULT,
               H5P_DEFAULT);
     },
     "expected content with the SHA-256"},
    {"CellLeftOut",
     [](hid_t file) { H5Ldelete(file, cell_place().c_str(), H5P_DEFAULT); },
     "#: expected content with the SHA-256"},
    {"ConfigLeftOut",
     [](hid_t file) { H5Ldelete(file, "/config", H5P_DEFAULT); },
     "#: expected content with the SHA-256"},
    {"NoDigest",
     [](hid_t file) {
       H5Adelete_by_name(file, cell_place().c_str(), "sha256", H5P_DEFAULT);
     },
     "expected the text attribute \"sha256\", found none"},
};

INSTANTIATE_TEST_SUITE_P(All, ChangedFileTest,
                         ::testing::ValuesIn(kChangedFiles),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace wush
