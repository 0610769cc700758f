/**
 * Who may import whom.
 *
 *   cli -> jobs -> library -> checkpoint | restart | report -> resources | pages -> tracee -> procfs | netlink | arch | remote -> image -> kernel -> support
 *
 * A layer may import itself and what is right of it, with the restrictions below. dependency-cruiser reads the TypeScript
 * sources with swc; imports of types count like any other.
 */
const { existsSync, readFileSync } = require('node:fs');
const { join } = require('node:path');

/** The kinds of resource: the files that the registry lists. What they share is any other file in src/resources. */
function registeredKinds() {
  const registry = join(__dirname, 'src/resources/registry.ts');
  if (!existsSync(registry)) return [];
  const imports = readFileSync(registry, 'utf8').matchAll(/from '\.\/([^/']+\/[^']+\.ts)'/g);
  return Array.from(imports, (match) => `^src/resources/${match[1].replaceAll('.', '\\.')}$`);
}

/** `layer` may import itself and `others`, and nothing else of src. */
function layer(name, others) {
  const allowed = [`${name}/`, ...others].map((path) => `^src/${path}`);
  return {
    name: `layer-${name.replaceAll('/', '-')}`,
    comment: `${name} may import only: ${[name, ...others].join(', ')}`,
    severity: 'error',
    from: { path: `^src/${name}/` },
    to: { path: '^src/', pathNot: allowed },
  };
}

const kinds = registeredKinds();
/** What the pipelines stand on. Of resources they see the contract, the list, and what all kinds share: never a kind. */
const foundations = [
  'resources/[^/]+\\.ts$',
  'pages/',
  'linux-cr/',
  'tracee/',
  'procfs/',
  'netlink/',
  'arch/',
  'remote/',
  'image/',
  'kernel/',
  'support/',
];

module.exports = {
  forbidden: [
    layer('support', []),
    layer('kernel/abi', ['kernel/struct\\.ts$']),
    layer('kernel', ['support/']),
    layer('image', ['support/']),
    layer('remote', ['image/', 'kernel/', 'support/']),
    layer('arch', ['kernel/abi/', 'kernel/struct\\.ts$', 'support/']),
    layer('procfs', ['kernel/', 'support/']),
    layer('netlink', ['kernel/', 'support/']),
    layer('tracee', ['procfs/', 'arch/', 'kernel/', 'support/']),
    layer('resources', ['tracee/', 'procfs/', 'netlink/', 'arch/', 'image/', 'kernel/', 'support/']),
    layer('linux-cr', ['image/', 'arch/', 'kernel/abi/', 'support/']),
    layer('pages', ['linux-cr/', 'image/', 'kernel/', 'support/']),
    layer('checkpoint', foundations),
    layer('restart', foundations),
    layer('report', foundations),
    layer('export', foundations),
    layer('page', ['report/page-data\\.ts$']),
    layer('library', ['checkpoint/', 'restart/', 'report/', 'remote/', 'image/', 'kernel/', 'support/']),
    layer('jobs', ['library/', 'procfs/', 'kernel/', 'support/']),
    layer('cli', [
      'jobs/',
      'library/',
      'index\\.ts$',
      'checkpoint/',
      'restart/',
      'report/',
      'export/',
      'remote/',
      'image/',
      'kernel/fault-points\\.ts$',
      'kernel/interrupt-flag\\.ts$',
      'kernel/traced-calls\\.ts$',
      'support/',
    ]),
    {
      name: 'arch-is-pure',
      comment: 'arch holds formats and machine code: it makes no system call and reads no file.',
      severity: 'error',
      from: { path: '^src/arch/' },
      to: { dependencyTypes: ['core'], pathNot: '^(node:)?(buffer|assert)$' },
    },
    {
      name: 'only-ffi-imports-koffi',
      comment: 'kernel/ffi.ts is the only importer of the foreign function interface.',
      severity: 'error',
      from: { pathNot: '^src/kernel/ffi\\.ts$' },
      to: { path: '(^|/)koffi(/|$)' },
    },
    {
      name: 'only-kernel-calls-linux',
      comment: 'System calls are made in kernel/ only; others use kernel/calls.',
      severity: 'error',
      from: { pathNot: '^src/kernel/' },
      to: { path: '^src/kernel/ffi\\.ts$' },
    },
    {
      name: 'kinds-never-import-each-other',
      comment:
        'Only the registry imports a kind. Kinds refer to each other by object id; what two share gets its own file.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/resources/registry\\.ts$' },
      to: { path: kinds.length > 0 ? kinds : '^no kind is registered$' },
    },
    {
      name: 'no-circular',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'no-unresolvable',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    parser: 'swc',
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default'],
      extensions: ['.ts', '.js', '.mjs', '.cjs'],
    },
  },
};
