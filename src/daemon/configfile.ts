// SPDX-License-Identifier: Apache-2.0
// The configuration file as the commands see it.

import { type Host, isFailure } from '../host/host.ts';
import { type Config, type Problem, readConfig } from '../uci/config.ts';
import { loadMaterial } from './material.ts';

export const CONFIG_DIRECTORY = '/etc/config';
/** Key files, a folder for each tunnel. */
export const KEY_DIRECTORY = '/etc/ovpnd';
export const RUN_DIRECTORY = '/var/run/ovpnd';

/** Where ubusd listens on OpenWrt. */
export const UBUS_SOCKET = '/var/run/ubus/ubus.sock';

export interface ConfigFile extends Config {
  readonly path: string;
}

/** A file that cannot be read is a configuration with one problem. */
export function readConfigFile(host: Host, directory: string): ConfigFile {
  const path = `${directory}/ovpnd`;
  const bytes = host.files.read(path);
  if (isFailure(bytes)) {
    const problem: Problem = {
      severity: 'error',
      file: path,
      line: 0,
      rule: `cannot be read: ${bytes.text}`,
    };
    return { path, servers: [], clients: [], problems: [problem], readable: false, refused: [] };
  }
  const config = readConfig(path, bytes, { hasAesInstructions: host.hasAesInstructions });
  return { path, ...config };
}

/** What is wrong with the files that the tunnels name. */
export function materialProblems(host: Host, config: ConfigFile): Problem[] {
  const problems: Problem[] = [];
  for (const tunnel of [...config.servers, ...config.clients]) {
    loadMaterial(host, config.path, tunnel, problems)?.tls.close();
  }
  return problems;
}
