"""The bounds of what files and configs may ask for: all of them stand here.

docs/security.md lists them, and a test compares. Those of a config alone can be raised
for one call: see `lamina.saving.limits`.
"""

# ---- weights, in bytes

MEMORY = 3 << 29  # that a config may make, if half of the machine's memory is not less
COPIES, SLACK = 6, 1 << 28  # for a model in a file: times what the file holds, and more

# ---- work: equations that JAX traces, each about a tenth of a millisecond

WORK = 50_000  # for any config,
WORK_EACH, WORK_MOST = 100, 200_000  # for each object in it, and at most

# ---- compiled programs, one for each set of shapes

PROGRAMS = 256  # that a step, or a forward pass, keeps; beyond it all of it are dropped

# ---- configs and JSON

NUMBER = 1 << 31  # the largest argument: no axis of an array is longer
AXES = 64  # of an array that an operation in a config works on: those of NumPy's
NAME = 1024  # characters of a name in a config or program, bytes of one in HDF5
TEXT = 1 << 27  # bytes of JSON in one file
MARKS = 1_000_000  # values and keys in it, a snapshot, a pickle, an exported file
PATTERN, STATES = 500, 1000  # characters of a pattern, and its parts when written out
TERMS = 4_000_000  # of a vocabulary in a model's file
MESSAGE = 4000  # characters of an error, of its causes, of a warning

# ---- archives, HDF5 and other files

FLOOR, RATIO = 1 << 24, 16  # bytes that any file may declare; times what it stores
MEMBERS = 10_000  # of a model's archive
GROWTH, LARGE = 100, 1 << 30  # times an archive that is unpacked grows beyond this size
WINDOW = 1 << 28  # bytes of memory that it takes to unpack one packed by LZMA
FILES, FILE = 10_000, 250  # that are unpacked from any, and one more for each 250 bytes
FILE_NAME, FILE_NUMBER = 1 << 16, 40  # bytes of a name in it, digits of a number
FILE_SHARED = 1024  # bytes that a tar says of all its entries
OBJECTS, DEPTH = 100_000, 256  # groups and arrays in HDF5, and groups within groups
LINKS = 1000  # that the header of a group itself holds, each of which is read in order
ATTRIBUTE, READ = 1 << 27, 1 << 28  # bytes of one attribute, and of all texts read
ATTRIBUTES = 1000  # of one group or array, each of which HDF5 looks for in order
TYPE = 1024  # bytes that say of what type values are
TREE = 1024  # entries of a node in the tree of a group
HEADER = 100_000_000  # bytes of the header of a .safetensors file
SHARDS = 1000  # files that a list of weights names
PIXELS, SIDE = 1 << 26, 1 << 17  # of an image in a folder, and in a row or column of it
SCANS = 100  # of a JPEG, each of which may go over all pixels
SOURCE = 1 << 20  # bytes of a module that `lamina check` reads
HERTZ = 1 << 20  # samples a second of a sound that is brought to another rate
